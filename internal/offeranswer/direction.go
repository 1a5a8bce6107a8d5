package offeranswer

// Direction of the media of a section, as the author of the description sees
// it (RFC 8866 §6.7). The zero value is SendRecv, which is also what a section
// without a direction means.
type Direction int

// The four directions.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

var directionNames = [...]string{
	SendRecv: "sendrecv",
	SendOnly: "sendonly",
	RecvOnly: "recvonly",
	Inactive: "inactive",
}

// String returns the attribute name, "sendrecv" and so on.
func (d Direction) String() string {
	if d < 0 || int(d) >= len(directionNames) {
		return "unknown"
	}
	return directionNames[d]
}

// Sends tells whether the author of the description sends media.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives tells whether the author of the description wants to receive media.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// Reverse returns the same flow as the other party sees it: sendonly is
// recvonly there.
func (d Direction) Reverse() Direction { return direction(d.Receives(), d.Sends()) }

// Limit returns what is left of d in an answer to the direction offered:
// an answerer can neither send what the offerer does not receive nor receive
// what it does not send (RFC 3264 §6.1). Phones that answer sendonly with
// sendrecv exist; a browser refuses such an answer as a whole.
func (d Direction) Limit(offered Direction) Direction {
	return direction(d.Sends() && offered.Receives(), d.Receives() && offered.Sends())
}

func direction(sends, receives bool) Direction {
	switch {
	case sends && receives:
		return SendRecv
	case sends:
		return SendOnly
	case receives:
		return RecvOnly
	}
	return Inactive
}
