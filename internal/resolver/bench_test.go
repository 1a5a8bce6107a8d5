package resolver

import (
	"fmt"
	"testing"
)

func BenchmarkCached(b *testing.B) {
	records := "one.example. 3600 IN A 192.0.2.1\n"
	for i := range 4 {
		records += fmt.Sprintf("_sip._udp.four.example. 3600 IN SRV %d %d 5060 h%d.example.\nh%d.example. 3600 IN A 192.0.2.%d\n", i/2, i, i, i, i+1)
	}
	r := on(b, newZone(b, records), Config{})
	for name, q := range map[string]Query{
		"address": {Host: "one.example", Port: 5060, Transport: "UDP"},
		"srv":     {Host: "four.example"},
		"literal": {Host: "192.0.2.1", Port: 5060, Transport: "UDP"},
	} {
		if _, err := r.Resolve(b.Context(), q); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := r.Cached(q); !ok {
					b.Fatal("not cached")
				}
			}
		})
	}
	b.Run("one of four dead", func(b *testing.B) {
		q := Query{Host: "four.example"}
		targets, _ := r.Cached(q)
		r.Failed(targets[0], 0)
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := r.Cached(q); !ok {
				b.Fatal("not cached")
			}
		}
	})
}
