package sipstack

func (s *Stack) logMessage(verb string, f *Flow, data []byte) {}
