package siprec

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"strings"
	"time"

	"webrtc2sip/internal/offeranswer"
)

const (
	metadataType = "application/rs-metadata+xml"        // RFC 7865 §11.4
	requestType  = "application/rs-metadata-request"    // RFC 7866 §9.2
	namespace    = "urn:ietf:params:xml:ns:recording:1" // RFC 7865 §11.1
	disposition  = "recording-session"                  // RFC 7866 §9.1
)

// snapshot is all that the metadata of a session tells, at one moment.
type snapshot struct {
	session      string // its id
	start        time.Time
	participants [2]member
	streams      []track
}

// member is a side of the call.
type member struct {
	id string
	Participant
}

// track is what one side sends in one stream of the call.
type track struct {
	id, label string
	side      offeranswer.Side
	sends     bool
}

// newID makes the id of an element: the octets of a UUID in base64 (RFC 7865 §6).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])                      // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random one, RFC 9562 §5.4
	return base64.StdEncoding.EncodeToString(b[:])
}

// The elements of RFC 7865 §10, in the order of its schema.
type (
	xmlRecording struct {
		XMLName            xml.Name         `xml:"recording"`
		Namespace          string           `xml:"xmlns,attr"`
		DataMode           string           `xml:"datamode"`
		Session            xmlSession       `xml:"session"`
		Participants       []xmlParticipant `xml:"participant"`
		Streams            []xmlStream      `xml:"stream"`
		SessionRecording   xmlAssociation   `xml:"sessionrecordingassoc"`
		ParticipantSession []xmlAssociation `xml:"participantsessionassoc"`
		ParticipantStream  []xmlFlows       `xml:"participantstreamassoc"`
	}
	xmlSession struct {
		ID    string `xml:"session_id,attr"`
		Start string `xml:"start-time"`
	}
	xmlParticipant struct {
		ID     string  `xml:"participant_id,attr"`
		NameID xmlName `xml:"nameID"`
	}
	xmlName struct {
		AoR  string `xml:"aor,attr"`
		Name string `xml:"name,omitempty"`
	}
	xmlStream struct {
		ID      string `xml:"stream_id,attr"`
		Session string `xml:"session_id,attr"`
		Label   string `xml:"label"`
	}
	xmlAssociation struct {
		Participant string `xml:"participant_id,attr,omitempty"`
		Session     string `xml:"session_id,attr"`
		Since       string `xml:"associate-time"`
	}
	xmlFlows struct {
		Participant string   `xml:"participant_id,attr"`
		Send        []string `xml:"send"`
		Receive     []string `xml:"recv"`
	}
)

// document writes the metadata, all of it. A stream that is held is nobody's at that time.
func (s *snapshot) document() []byte {
	start := s.start.UTC().Format(time.RFC3339)
	r := xmlRecording{
		Namespace: namespace, DataMode: "complete",
		Session:          xmlSession{ID: s.session, Start: start},
		SessionRecording: xmlAssociation{Session: s.session, Since: start},
	}
	for side, p := range s.participants {
		r.Participants = append(r.Participants, xmlParticipant{ID: p.id, NameID: xmlName{AoR: addressOf(p.AoR), Name: p.Name}})
		r.ParticipantSession = append(r.ParticipantSession, xmlAssociation{Participant: p.id, Session: s.session, Since: start})
		flows := xmlFlows{Participant: p.id}
		for _, t := range s.streams {
			switch {
			case !t.sends:
			case t.side == offeranswer.Side(side):
				flows.Send = append(flows.Send, t.id)
			default:
				flows.Receive = append(flows.Receive, t.id)
			}
		}
		r.ParticipantStream = append(r.ParticipantStream, flows)
	}
	for _, t := range s.streams {
		r.Streams = append(r.Streams, xmlStream{ID: t.id, Session: s.session, Label: t.label})
	}
	text, _ := xml.MarshalIndent(&r, "", "  ") // strings always marshal; what is no XML character is replaced
	return append([]byte(xml.Header), append(text, '\n')...)
}

// addressOf takes from a URI what does not name the party.
func addressOf(uri string) string {
	if i := strings.IndexAny(uri, ";?"); i >= 0 {
		return uri[:i]
	}
	return uri
}
