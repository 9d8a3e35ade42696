// tools/bench/etcd.go: the workloads of `holdfast bench` against etcd, for comparison.
//
// usage: etcd-bench ENDPOINT WORKLOAD CLIENTS SECONDS
//
// Closed loop, 256-byte values, 10,000 keys, one connection for each client, all of them to the
// one endpoint (the leader's). Prints one JSON line with the fields of `holdfast bench --json`.
// Built with Debian's golang-etcd-server-dev.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

const (
	keyCount  = 10000
	valueSize = 256
	warmup    = 2 * time.Second
)

type worker struct {
	number    int
	client    *clientv3.Client
	session   *concurrency.Session
	random    *rand.Rand
	latencies []time.Duration
	errors    int
	first     string
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd-bench:", err)
		os.Exit(1)
	}
}

func key(n int) string { return fmt.Sprintf("bench/%06d", n) }

var lastHolder int64 = -1

// One operation; counted says whether it is one of the workload's.
func (w *worker) step(ctx context.Context, workload string, value string) (counted bool, err error) {
	switch workload {
	case "put":
		_, err = w.client.Put(ctx, key(w.random.Intn(keyCount)), value)
		return true, err
	case "get":
		_, err = w.client.Get(ctx, key(w.random.Intn(keyCount)))
		return true, err
	case "lock":
		mutex := concurrency.NewMutex(w.session, fmt.Sprintf("/lock/%d", w.number))
		if err = mutex.Lock(ctx); err != nil {
			return false, err
		}
		return true, mutex.Unlock(ctx)
	case "handoff":
		mutex := concurrency.NewMutex(w.session, "/handoff")
		if err = mutex.Lock(ctx); err != nil {
			return false, err
		}
		counted = atomic.SwapInt64(&lastHolder, int64(w.number)) != int64(w.number)
		return counted, mutex.Unlock(ctx)
	}
	return false, fmt.Errorf("unknown workload %q", workload)
}

func fill(client *clientv3.Client, value string) {
	var group sync.WaitGroup
	for part := 0; part < 64; part++ {
		group.Add(1)
		go func(part int) {
			defer group.Done()
			for n := part; n < keyCount; n += 64 {
				_, err := client.Put(context.Background(), key(n), value)
				check(err)
			}
		}(part)
	}
	group.Wait()
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: etcd-bench ENDPOINT put|get|lock|handoff CLIENTS SECONDS")
		os.Exit(64)
	}
	endpoint, workload := os.Args[1], os.Args[2]
	clients, err := strconv.Atoi(os.Args[3])
	check(err)
	seconds, err := strconv.ParseFloat(os.Args[4], 64)
	check(err)
	value := string(make([]byte, valueSize))

	workers := make([]*worker, clients)
	for i := range workers {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
		check(err)
		workers[i] = &worker{number: i, client: client, random: rand.New(rand.NewSource(int64(i)))}
		if workload == "lock" || workload == "handoff" {
			workers[i].session, err = concurrency.NewSession(client, concurrency.WithTTL(10))
			check(err)
		}
	}
	if workload == "get" {
		fill(workers[0].client, value)
	}
	begin := time.Now().Add(warmup)
	end := begin.Add(time.Duration(seconds * float64(time.Second)))
	var group sync.WaitGroup
	for _, w := range workers {
		group.Add(1)
		go func(w *worker) {
			defer group.Done()
			for {
				started := time.Now()
				if started.After(end) {
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				counted, err := w.step(ctx, workload, value)
				cancel()
				if err != nil {
					w.errors++
					w.first = err.Error()
				} else if counted && started.After(begin) {
					w.latencies = append(w.latencies, time.Since(started))
				}
			}
		}(w)
	}
	group.Wait()

	var all []time.Duration
	errors := 0
	for _, w := range workers {
		all = append(all, w.latencies...)
		errors += w.errors
		if w.first != "" {
			fmt.Fprintln(os.Stderr, "etcd-bench:", w.first)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(perMille int) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[(len(all)-1)*perMille/1000].Nanoseconds()) / 1000
	}
	line, err := json.Marshal(map[string]interface{}{
		"peer": "etcd", "workload": workload, "clients": clients, "seconds": seconds,
		"ops": len(all), "ops_per_s": float64(len(all)) / seconds, "p50_us": at(500),
		"p99_us": at(990), "p999_us": at(999), "max_us": at(1000), "errors": errors})
	check(err)
	fmt.Println(string(line))
}
