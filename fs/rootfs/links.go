package rootfs

import "context"

// links are the hard links of a stack whose target is in a lower layer than they
// are. Few images have any, but where there are, all layers have to be there.
type links struct {
	to    map[part]part   // the target of each that has one
	names map[part]uint32 // how many of them an inode has, by its leading node
}

// crossing returns the links, for which it waits for all layers.
func (s *Stack) crossing(ctx context.Context) (*links, error) {
	for layer := range s.trees {
		if err := s.need(ctx, layer); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		s.links = s.resolve()
	}
	return s.links, nil
}

// resolve finds the targets of all links, from the lowest layer up: that of one may
// be another. An image may have as many as one of its layers.
func (s *Stack) resolve() *links {
	l := &links{to: make(map[part]part), names: make(map[part]uint32)}
	seen := 0
	for layer := range s.trees {
		t := s.tree(int32(layer))
		for _, c := range t.crossing {
			to, ok := part{}, false
			if seen++; seen <= maxCrossing {
				to, ok = s.below(l, layer, c.to)
			}
			if ok {
				l.to[part{int32(layer), c.node}] = to
				target := s.tree(to.layer)
				l.names[part{to.layer, target.inode(to.node).lead}]++
			} else if s.report != nil {
				s.report(layer, &EntryError{t.table.Entry(int(t.entries[c.node])).Name, "a hard link without its target"})
			}
		}
	}
	return l
}

// below looks a name up in the layers below one, without following symbolic links.
// It finds what is no directory. The links of these layers are known.
func (s *Stack) below(l *links, layer int, names []string) (part, bool) {
	var parts []part
	for layer--; layer >= 0; layer-- {
		parts = append(parts, part{int32(layer), 0})
		if s.tree(int32(layer)).kinds[0]&opaque != 0 {
			break
		}
	}
	for i, name := range names {
		found, file := s.merge(l, parts, name)
		if i == len(names)-1 && len(found) == 0 && file != nil {
			return *file, true
		}
		parts = found
	}
	return part{}, false
}

// merge finds a name in the parts of a directory: the parts that it has itself, or
// what it is if it is none.
func (s *Stack) merge(l *links, parts []part, name string) (dirs []part, file *part) {
	for _, p := range parts {
		t := s.tree(p.layer)
		node, ok := t.lookup(p.node, name)
		if !ok {
			continue
		}
		here := part{p.layer, node}
		k := t.kinds[node]
		switch {
		case k&kindBits == whiteout:
			return dirs, nil
		case k.is('5'):
			if dirs = append(dirs, here); k&(covers|opaque) != 0 {
				return dirs, nil
			}
		case !k.is('1'):
			return dirs, &here
		default:
			if to, ok := l.to[here]; ok {
				return dirs, &to
			}
			if k&covers != 0 {
				return dirs, nil
			}
		}
	}
	return dirs, nil
}
