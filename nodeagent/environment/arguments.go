package environment

import (
	"errors"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// ErrNoCommand is returned when neither the container nor its image says what to run.
var ErrNoCommand = errors.New("no command specified")

// Arguments is a container's argv: command replaces the image's ENTRYPOINT and its CMD, args replaces its CMD. $(NAME) is expanded in
// what the container says, not in what the image says.
func Arguments(container *v1.Container, variables []v1.EnvVar, entrypoint, cmd []string) ([]string, error) {
	values := make(map[string]string, len(variables))
	for _, variable := range variables {
		values[variable.Name] = variable.Value
	}
	lookup := func(name string) (string, bool) { value, known := values[name]; return value, known }
	expand := func(texts []string) []string {
		expanded := make([]string, len(texts))
		for i, text := range texts {
			expanded[i] = Expand(text, lookup)
		}
		return expanded
	}
	command, args := entrypoint, cmd
	if len(container.Command) > 0 {
		command, args = expand(container.Command), nil
	}
	if len(container.Args) > 0 {
		args = expand(container.Args)
	}
	argv := slices.Concat(command, args)
	if len(argv) == 0 {
		return nil, ErrNoCommand
	}
	return argv, nil
}

// Environ joins the image's ENV, HOSTNAME and a container's variables into NAME=value lines; the last of a name wins.
func Environ(imageEnv []string, hostname string, variables []v1.EnvVar) []string {
	environ := slices.Clone(imageEnv)
	if !slices.ContainsFunc(imageEnv, func(line string) bool { return len(line) > 5 && line[:5] == "PATH=" }) {
		environ = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, environ...)
	}
	environ = append(environ, "HOSTNAME="+hostname)
	for _, variable := range variables {
		environ = append(environ, variable.Name+"="+variable.Value)
	}
	return environ
}
