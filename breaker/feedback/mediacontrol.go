package feedback

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
)

// MediaControlType is the Content-Type of RFC 5168.
const MediaControlType = "application/media_control+xml"

// maxMediaControl is far more than any request needs.
const maxMediaControl = 4096

// ErrMediaControl is a body that is no request of RFC 5168.
var ErrMediaControl = errors.New("not a media_control document")

// mediaControlFastUpdate is RFC 5168 §5.1 at its shortest, as gateways send it.
const mediaControlFastUpdate = `<?xml version="1.0" encoding="utf-8"?>` +
	`<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>`

// FastUpdate returns the body of an INFO request that asks for a keyframe.
func FastUpdate() []byte { return []byte(mediaControlFastUpdate) }

// MediaControl tells whether the body of an INFO request asks for a keyframe
// (picture_fast_update, RFC 5168 §4). The error is ErrMediaControl for a body
// that is no well-formed document of that kind, or longer than 4096 octets.
// There is none for the document that reports an error (general_error).
func MediaControl(body []byte) (fastUpdate bool, err error) {
	if len(body) > maxMediaControl {
		return false, ErrMediaControl
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	// The body is of a few ASCII names, whatever charset it claims.
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	for root := false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root {
			return fastUpdate, nil
		}
		if err != nil {
			return false, ErrMediaControl
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case !root && start.Name.Local != "media_control":
			return false, ErrMediaControl
		case start.Name.Local == "picture_fast_update":
			fastUpdate = true
		}
		root = root || ok
	}
}
