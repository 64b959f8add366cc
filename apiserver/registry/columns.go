package registry

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// now is the clock that ages are printed by; tests set it.
var now = time.Now

func nameColumn() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]}
}

func ageColumn() metav1.TableColumnDefinition {
	return column("Age", "string", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"])
}

// column is shown always.
func column(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description}
}

// wideColumn is shown by `-o wide` only.
func wideColumn(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description, Priority: 1}
}

func age(obj Object) string {
	return ageSince(obj.GetCreationTimestamp().Time)
}

// ageSince is the time that passed since then, as "5m" or "3d4h"; "<unknown>" for the zero time.
func ageSince(then time.Time) string {
	if then.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now().Sub(then))
}

// withMore joins the first three of all and counts the rest: "a,b,c + 2 more...".
func withMore(all []string) string {
	const shown = 3
	if len(all) > shown {
		return fmt.Sprintf("%s + %d more...", strings.Join(all[:shown], ","), len(all)-shown)
	}
	return strings.Join(all, ",")
}

// orNone is the text, or "<none>" if it is empty.
func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}
