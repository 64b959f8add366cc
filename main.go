// Command kubelite runs a whole small Kubernetes on one Linux machine. See package cli.
package main

import (
	"os"

	"github.com/kubelite/kubelite/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
