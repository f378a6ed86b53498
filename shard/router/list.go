package router

// list is a list of proposals through their own links.
type list struct{ head, tail *proposal }

func (l *list) pushBack(p *proposal) { l.insertAfter(p, l.tail) }

// insert puts p behind the last one with a smaller seq.
func (l *list) insert(p *proposal) {
	at := l.tail
	for at != nil && at.seq > p.seq {
		at = at.prev
	}
	l.insertAfter(p, at)
}

// insertAfter puts p behind at, or first when at is nil.
func (l *list) insertAfter(p, at *proposal) {
	p.list, p.prev = l, at
	if at == nil {
		p.next, l.head = l.head, p
	} else {
		p.next, at.next = at.next, p
	}
	if p.next == nil {
		l.tail = p
	} else {
		p.next.prev = p
	}
}

// remove takes p out of l; a nil list holds nothing.
func (l *list) remove(p *proposal) {
	if l == nil {
		return
	}
	if p.prev == nil {
		l.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next, p.list = nil, nil, nil
}
