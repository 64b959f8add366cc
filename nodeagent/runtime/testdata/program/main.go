// Command program is what the tests run in containers: one small static binary, the only file of the image.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() {
	switch filepath.Base(os.Args[0]) + " " + os.Args[1] {
	case "program sleep":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("sleeping")
		<-stop
		os.Exit(7)
	case "program exit":
		code, _ := strconv.Atoi(os.Args[2])
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		os.Exit(code)
	case "program cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "program lines":
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			fmt.Println("got", lines.Text())
		}
	case "program size": // of the terminal, when it is the wanted one: runc signals those before as well
		changed := make(chan os.Signal, 1)
		signal.Notify(changed, syscall.SIGWINCH)
		fmt.Println("ready")
		for terminalSize() != os.Args[2] {
			<-changed
		}
		fmt.Println(terminalSize())
	case "program facts":
		facts()
	case "program eat":
		var eaten [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = 1
			}
			eaten = append(eaten, block)
			if len(eaten) > 1<<14 {
				return
			}
		}
	case "program dial":
		conn, err := net.DialTimeout("tcp", os.Args[2], 5*time.Second)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_, _ = io.Copy(os.Stdout, conn)
	case "program serve":
		listener, err := net.Listen("tcp", os.Args[2])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			conn, err := listener.Accept()
			if err != nil {
				os.Exit(1)
			}
			host, _ := os.Hostname()
			fmt.Fprintln(conn, host, conn.RemoteAddr().(*net.TCPAddr).IP)
			conn.Close()
		}
	}
}

// facts prints what a container sees of itself.
func facts() {
	host, _ := os.Hostname()
	groups, _ := os.Getgroups()
	folder, _ := os.Getwd()
	fmt.Println("hostname", host)
	fmt.Println("pid", os.Getpid(), "uid", os.Getuid(), "gid", os.Getgid(), "groups", groups)
	fmt.Println("folder", folder, "GREETING", os.Getenv("GREETING"))
	status, _ := os.Open("/proc/self/status")
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if line := lines.Text(); len(line) > 6 && (line[:6] == "CapBnd" || line[:6] == "NoNewP" || line[:6] == "Seccom") {
			fmt.Println(line)
		}
	}
	fmt.Println("write /proc/sys:", os.WriteFile("/proc/sys/kernel/domainname", []byte("x"), 0))
	fmt.Println("write /sys/fs/cgroup:", os.Mkdir("/sys/fs/cgroup/x", 0o700) != nil)
	fmt.Println("write /:", os.WriteFile("/new", []byte("x"), 0o600))
	interfaces, _ := net.Interfaces()
	for _, link := range interfaces {
		addresses, _ := link.Addrs()
		fmt.Println(link.Name, link.HardwareAddr, link.Flags&net.FlagUp != 0, addresses)
	}
}
