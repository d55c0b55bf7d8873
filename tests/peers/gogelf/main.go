// Reads GELF with Graylog's own Go library, over UDP and TCP, and prints one line a message:
// RECORD and its JSON, or BAD and the reason.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/Graylog2/go-gelf/gelf"
)

var out sync.Mutex

func show(message *gelf.Message, err error) {
	var buf bytes.Buffer
	if err == nil {
		err = message.MarshalJSONBuf(&buf)
	}
	out.Lock()
	defer out.Unlock()
	if err != nil {
		fmt.Printf("BAD %v\n", err)
	} else {
		fmt.Printf("RECORD %s\n", buf.Bytes())
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The library keeps its reader of TCP to itself, so the frames are cut here and only the message is its own.
func connection(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		frame, err := reader.ReadBytes(0)
		if err != nil {
			if len(frame) > 0 {
				show(nil, fmt.Errorf("torn frame of %d bytes", len(frame)))
			}
			return
		}
		message := new(gelf.Message)
		err = json.Unmarshal(frame[:len(frame)-1], message)
		show(message, err)
	}
}

func main() {
	address := os.Args[1]
	reader, err := gelf.NewReader(address)
	must(err)
	listener, err := net.Listen("tcp", address)
	must(err)
	fmt.Println("LISTENING")
	go func() {
		for {
			conn, err := listener.Accept()
			must(err)
			go connection(conn)
		}
	}()
	for {
		show(reader.ReadMessage())
	}
}
