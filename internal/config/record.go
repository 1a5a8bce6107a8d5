package config

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Record says which calls are recorded, and where.
type Record struct {
	// Folder is the absolute path of what holds the files; empty: there are none.
	Folder string
	// Servers are recording servers (RFC 7866), in the order of trial. At least one if there is no folder.
	Servers []RecordServer
	// ServerUser and ServerPassword answer their challenges; empty: nothing does.
	ServerUser     string
	ServerPassword Secret
	// Rules are those of which one must fit a call. None: calls are recorded when somebody asks.
	Rules []RecordRule
	// OnRequest lets the parties of a call begin and end its recording, by a Record header in INFO.
	OnRequest bool
	// AudioOnly leaves pictures out.
	AudioOnly bool
	// Retention is how long files are kept; 0 means for ever.
	Retention time.Duration
	// MaxSize is how many octets they may have together; 0 means any number.
	MaxSize int64
}

// RecordRule fits all calls, those of a user, or those by a trunk.
type RecordRule struct {
	All bool
	// User is that of either party's address, in lower case; Domain that of the address, or empty for any.
	User, Domain string
	// Trunk is the name of one.
	Trunk string
}

// RecordServer is a recording server.
type RecordServer struct {
	Hop
	// User is that of its URI, or empty.
	User string
}

// day is what record-retention counts.
const day = 24 * time.Hour

func (p *parser) recordFolder(value string) error {
	if !filepath.IsAbs(value) {
		return errors.New("no absolute path")
	}
	p.record.Folder = filepath.Clean(value)
	return nil
}

func (p *parser) recordRule(value string) error {
	what, who, named := strings.Cut(value, ";")
	who = strings.TrimSpace(who)
	switch what = strings.ToLower(strings.TrimSpace(what)); {
	case what == "all" && !named:
		p.record.Rules = append(p.record.Rules, RecordRule{All: true})
	case what == "request" && !named:
		p.record.OnRequest = true
	case what == "user" && who != "":
		user, domain, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(who, "sip:")), "@")
		if user == "" {
			return errors.New("no user")
		}
		p.record.Rules = append(p.record.Rules, RecordRule{User: user, Domain: domain})
	case what == "trunk" && who != "":
		p.record.Rules = append(p.record.Rules, RecordRule{Trunk: who})
	default:
		return errors.New("no such rule")
	}
	return nil
}

func (p *parser) siprec(value string) (err error) {
	var s RecordServer
	scheme, rest, _ := strings.Cut(value, ":")
	if name, server, found := strings.Cut(rest, "@"); found {
		if s.User, err = user(name); err != nil {
			return err
		}
		rest = server
	}
	if s.Hop, err = hop(scheme + ":" + rest); err == nil {
		s.URI = value
		p.record.Servers = append(p.record.Servers, s)
	}
	return err
}

func (p *parser) siprecAccount(value string) error {
	name, password, found := strings.Cut(value, ";")
	if !found || name == "" || password == "" {
		return errors.New("no user with a password")
	}
	p.record.ServerUser, p.record.ServerPassword = name, Secret(password)
	return nil
}

func (p *parser) recordMedia(value string) (err error) {
	p.record.AudioOnly, err = either(value, "audio", "all")
	return err
}

func (p *parser) recordRetention(value string) error {
	days, err := strconv.ParseUint(value, 10, 32)
	if err != nil || days > 36500 {
		return errors.New("no such number of days")
	}
	p.record.Retention = time.Duration(days) * day
	return nil
}

func (p *parser) recordMaxSize(value string) error {
	megabytes, err := strconv.ParseUint(value, 10, 32)
	if err != nil || megabytes > 1e9 {
		return errors.New("no such number of megabytes")
	}
	p.record.MaxSize = int64(megabytes) * 1e6
	return nil
}

// lacks tells which element another one makes no sense without, empty if that is there.
func (r *Record) lacks(name string) string {
	switch {
	case name == "siprec-account" && len(r.Servers) == 0:
		return "<siprec>"
	case name == "siprec-account" || r.Folder != "":
		return ""
	case len(r.Servers) > 0 && (name == "record" || name == "record-media"):
		return ""
	}
	return "<record-folder>"
}

// checkRecord puts together what is said about recordings.
func (p *parser) checkRecord() error {
	for _, name := range []string{"record", "record-media", "record-retention", "record-max-size", "siprec-account"} {
		if e, lacks := p.last[name], p.record.lacks(name); e != nil && lacks != "" {
			return e.errorf("there is no %s", lacks)
		}
	}
	if p.record.Folder == "" && len(p.record.Servers) == 0 {
		return nil
	}
	for _, r := range p.record.Rules {
		known := func(t Trunk) bool { return strings.EqualFold(t.Name, r.Trunk) }
		if r.Trunk != "" && !slices.ContainsFunc(p.config.Trunks, known) {
			return p.last["record"].errorf("there is no <trunk> of the name %s", r.Trunk)
		}
	}
	if len(p.record.Rules) > 0 && p.config.Breaker == Never {
		return p.last["record"].errorf("with <breaker>never</breaker> no media comes here that could be recorded")
	}
	p.config.Record = &p.record
	return nil
}
