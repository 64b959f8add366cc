package environment

import "strings"

// Expand replaces $(NAME) in text by lookup's value, as Kubernetes does: $$ is one $, so $$(NAME) stays $(NAME) unexpanded, and
// a reference to an unknown name or with no closing bracket is left as it is.
func Expand(text string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			out.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case '$':
			out.WriteByte('$')
		case '(':
			name, _, closed := strings.Cut(text[i+1:], ")")
			if !closed {
				out.WriteString("$(")
				continue
			}
			if value, known := lookup(name); known {
				out.WriteString(value)
			} else {
				out.WriteString("$(" + name + ")")
			}
			i += len(name) + 1
		default:
			out.WriteByte('$')
			out.WriteByte(text[i])
		}
	}
	return out.String()
}
