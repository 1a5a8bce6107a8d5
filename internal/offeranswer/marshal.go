package offeranswer

// Marshal returns the text of the description with CRLF line ends, in the
// order of RFC 8866 §5.
func (d *Description) Marshal() []byte {
	return nil
}
