package proxy

// admit judges a request that was routed and would leave.
func (p *Proxy) admit(*routed) *refusal { return nil }
