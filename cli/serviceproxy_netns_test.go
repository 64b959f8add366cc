package cli

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
)

// Who may not change rules hears it in one line, and not what each tool says about it.
func TestNetnsServiceProxyNeedsNetAdmin(t *testing.T) {
	for _, arguments := range [][]string{{"--cleanup"}, {"--kubeconfig", "/nowhere"}} {
		err := netns.Do(netnstest.New(t), func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var own [2]unix.CapUserData
			if err := unix.Capget(&header, &own[0]); err != nil {
				return err
			}
			without := own
			without[0].Effective &^= 1 << unix.CAP_NET_ADMIN
			if err := unix.Capset(&header, &without[0]); err != nil { // of this thread
				return err
			}
			command := newServiceProxyCommand()
			command.SilenceErrors, command.SilenceUsage = true, true
			command.SetArgs(arguments)
			err := command.Execute()
			if err == nil || !strings.Contains(err.Error(), "run it with sudo") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", arguments, err)
			}
			return unix.Capset(&header, &own[0])
		})
		if err != nil {
			t.Error(err)
		}
	}
}
