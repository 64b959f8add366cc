package volumes

import (
	"context"
	"fmt"
	"os"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// tokenKey names one token file of one Pod.
type tokenKey struct {
	pod          types.UID
	volume, path string
}

type token struct {
	text  string
	renew time.Time
}

// addToken adds a service-account token that is bound to the Pod. It is asked for anew when four fifths of its life are over.
func (v *Volumes) addToken(ctx context.Context, content payload, pod *v1.Pod, volume string, from *v1.ServiceAccountTokenProjection, mode int32) (renew time.Time, err error) {
	key := tokenKey{pod.UID, volume, from.Path}
	now := v.Now()
	v.mutex.Lock()
	current := v.tokens[key]
	v.mutex.Unlock()
	if current.text == "" || !now.Before(current.renew) {
		if current, err = v.requestToken(ctx, pod, from, now); err != nil {
			return time.Time{}, err
		}
		v.mutex.Lock()
		v.tokens[key] = current
		v.mutex.Unlock()
	}
	content[from.Path] = file{[]byte(current.text), os.FileMode(mode)}
	return current.renew, nil
}

func (v *Volumes) requestToken(ctx context.Context, pod *v1.Pod, from *v1.ServiceAccountTokenProjection, now time.Time) (token, error) {
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		ExpirationSeconds: from.ExpirationSeconds,
		BoundObjectRef:    &authentication.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if from.Audience != "" {
		request.Spec.Audiences = []string{from.Audience}
	}
	answer, err := v.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return token{}, fmt.Errorf("failed to fetch token: %w", err)
	}
	life := answer.Status.ExpirationTimestamp.Sub(now)
	return token{answer.Status.Token, now.Add(max(life*4/5, time.Minute))}, nil
}

func (v *Volumes) forgetTokens(pod types.UID) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	for key := range v.tokens {
		if key.pod == pod {
			delete(v.tokens, key)
		}
	}
}
