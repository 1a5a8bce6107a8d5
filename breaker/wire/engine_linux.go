package wire

func newEngine(w *Worker, portable bool) (engine, error) {
	if portable {
		return newReaders(w), nil
	}
	return newEpoll(w)
}
