// A backend and a client with Go's net/http, on both sides of Sluicegate. Use: go run proxy.go
// Defines an API for its own backend at SLUICEGATE_INTERNAL_URL, and prints one line for each check.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"
)

const prefix = "/foreign-go"

var public, internal = os.Getenv("SLUICEGATE_URL"), os.Getenv("SLUICEGATE_INTERNAL_URL")

// check ends the program with 1 at the first claim that does not hold.
func check(claim string, err error) {
	if err != nil {
		fmt.Printf("not ok - go: %s\n%v\n", claim, err)
		os.Exit(1)
	}
	fmt.Printf("ok - go: %s\n", claim)
}

func expect(what string, got, wanted any) error {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		return fmt.Errorf("%s: got %v, wanted %v", what, got, wanted)
	}
	return nil
}

// left hears of each request whose client went away.
var left = make(chan string, 16)

func backend(answer http.ResponseWriter, request *http.Request) {
	switch path := strings.TrimPrefix(request.URL.Path, prefix); path {
	case "/sum":
		sum := sha256.New()
		length, err := io.Copy(sum, request.Body)
		if err != nil {
			return
		}
		answer.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(answer, "%s %d %s", request.Method, length, request.RequestURI)
		answer.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
	case "/flood":
		piece := bytes.Repeat([]byte("x"), 1<<16)
		for range 1024 {
			if _, err := answer.Write(piece); err != nil {
				return
			}
		}
	case "/events":
		answer.Header().Set("Content-Type", "text/event-stream")
		for number := 0; ; number++ {
			fmt.Fprintf(answer, "data: %d\n\n", number)
			answer.(http.Flusher).Flush()
			select {
			case <-request.Context().Done():
				left <- path
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	case "/silent":
		<-request.Context().Done()
		left <- path
	case "/break":
		answer.Header().Set("Content-Length", "100")
		io.WriteString(answer, "half")
		answer.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	default:
		http.Redirect(answer, request, prefix+"/sum?redirected", http.StatusTemporaryRedirect)
	}
}

// define makes the API of this backend.
func define(backend string) error {
	var endpoints []map[string]any
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		endpoints = append(endpoints, map[string]any{"id": method, "method": method, "path_regex": prefix + "/.*"})
	}
	api, err := json.Marshal(map[string]any{
		"id": "foreign-go", "name": "foreign-go",
		"version_data": map[string]any{"default": map[string]any{"endpoints": endpoints}},
		"proxy":        map[string]any{"target_urls": []string{backend}},
	})
	if err != nil {
		return err
	}
	remove, _ := http.NewRequest("DELETE", internal+"/v3/apis/foreign-go", nil)
	if answer, err := http.DefaultClient.Do(remove); err == nil {
		answer.Body.Close()
	}
	answer, err := http.Post(internal+"/v3/apis", "application/json", bytes.NewReader(api))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return expect("status", answer.StatusCode, 201)
}

// client speaks HTTP/2 over TLS, or HTTP/1.1.
func client(http2 bool) (*http.Client, string) {
	if !http2 {
		return &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Second}}, public + prefix
	}
	roots := x509.NewCertPool()
	authorities, err := os.ReadFile(os.Getenv("SLUICEGATE_CA"))
	if err != nil || !roots.AppendCertsFromPEM(authorities) {
		check("the certificate can be read", fmt.Errorf("SLUICEGATE_CA: %v", err))
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	return &http.Client{Transport: transport}, os.Getenv("SLUICEGATE_TLS_URL") + prefix
}

func upload(client *http.Client, base, method string, body []byte, known bool) error {
	var reader io.Reader = bytes.NewReader(body)
	if !known {
		reader = io.MultiReader(reader)
	}
	target := "/sum?a=1&a=2&b=%20%2B+"
	request, err := http.NewRequest(method, base+target, reader)
	if err != nil {
		return err
	}
	if known && len(body) > 0 {
		request.Header.Set("Expect", "100-continue")
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if err := expect("body", string(text), fmt.Sprintf("%s %d %s%s", method, len(body), prefix, target)); err != nil {
		return err
	}
	if answer.ProtoMajor == 2 {
		return expect("trailer", answer.Trailer.Get("X-Sum"), fmt.Sprintf("%x", sha256.Sum256(body)))
	}
	return nil
}

func leave(client *http.Client, base, path string, pieces int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", base+path, nil)
	answer, err := client.Do(request)
	if err == nil {
		buffer := make([]byte, 9)
		for number := range pieces {
			if _, err := io.ReadFull(answer.Body, buffer); err != nil {
				return err
			}
			if err := expect("event", string(buffer), fmt.Sprintf("data: %d\n\n", number)); err != nil {
				return err
			}
		}
		cancel()
		answer.Body.Close()
	}
	select {
	case path := <-left:
		return expect("path", path, path)
	case <-time.After(15 * time.Second):
		return fmt.Errorf("the backend did not hear that the client left")
	}
}

func get(client *http.Client, url string) (int, int, error) {
	answer, err := client.Get(url)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, len(body), err
}

// behind puts another proxy, of Go, before Sluicegate.
func behind() error {
	target, err := url.Parse(public)
	if err != nil {
		return err
	}
	front := httptest.NewServer(httputil.NewSingleHostReverseProxy(target))
	defer front.Close()
	return upload(http.DefaultClient, front.URL+prefix, "POST", []byte("through two"), true)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check("a backend listens", err)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(backend), Protocols: protocols}
	go server.Serve(listener)
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	for _, scheme := range []string{"http", "h2c"} {
		check("an API is defined for "+scheme, define(scheme+"://"+listener.Addr().String()))
		for _, http2 := range []bool{false, true} {
			client, base := client(http2)
			way := fmt.Sprintf(" (HTTP/2: %t, backend: %s)", http2, scheme)
			for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
				for _, body := range [][]byte{nil, []byte("small"), large} {
					if err := upload(client, base, method, body, true); err != nil {
						check(fmt.Sprintf("%s with %d bytes%s", method, len(body), way), err)
					}
				}
			}
			check("every method and body, with Expect"+way, nil)
			check("a body of unknown length"+way, upload(client, base, "POST", large, false))
			status, length, err := get(client, base+"/flood")
			if err == nil {
				err = expect("status and length", fmt.Sprint(status, length), fmt.Sprint(200, 64<<20))
			}
			check("64 MiB come down"+way, err)
			status, _, err = get(client, base+"/other")
			if err == nil {
				err = expect("status", status, 200)
			}
			check("a redirect is followed by the client"+way, err)
			_, _, err = get(client, base+"/break")
			if err == nil {
				err = fmt.Errorf("half an answer looks whole")
			} else {
				err = nil
			}
			check("half an answer is an error"+way, err)
			check("events come one by one, until the client leaves"+way, leave(client, base, "/events", 3))
			check("a request ends with its client"+way, leave(client, base, "/silent", 0))
		}
	}
	check("another proxy may stand before it", behind())
}
