package nftables

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/sys/unix"
)

// table is what the kernel holds of the table besides elements.
type table struct {
	exists bool
	// damage says in words how the constant part differs from the layout, or a chain on demand from its rules; empty if it does not.
	damage string
	// chains are those that are made on demand.
	chains map[chain]bool
	sizes  sizes
}

// readTable reads and compares everything but elements.
func (c *connection) readTable(l layout) (table, error) {
	found := table{chains: map[chain]bool{}}
	err := c.dump(unix.NFT_MSG_GETTABLE, l.family, nil, func(data []byte) error {
		if findText(data, unix.NFTA_TABLE_NAME) != tableName {
			return nil
		}
		found.exists = true
		if flags := find(data, unix.NFTA_TABLE_FLAGS); len(flags) == 4 && bigEndian.Uint32(flags) != 0 {
			found.damage = "has flags, as a dormant table has" // whose chains no packet enters
		}
		return nil
	})
	if err != nil || !found.exists || found.damage != "" {
		return found, wrapRead(err)
	}
	if found.damage, err = c.compareSets(l, &found.sizes); err != nil || found.damage != "" {
		return found, wrapRead(err)
	}
	found.damage, err = c.compareChains(l, found.chains)
	return found, wrapRead(err)
}

func wrapRead(err error) error {
	if err != nil {
		return fmt.Errorf("read nf_tables: %w", err)
	}
	return nil
}

// compareSets compares what sets there are with the layout, and collects their sizes.
func (c *connection) compareSets(l layout, sizes *sizes) (damage string, err error) {
	var right [setCount]bool
	err = c.dump(unix.NFT_MSG_GETSET, l.family, []attribute{text(unix.NFTA_SET_TABLE, tableName)}, func(data []byte) error {
		if findText(data, unix.NFTA_SET_TABLE) != tableName {
			return nil
		}
		name := findText(data, unix.NFTA_SET_NAME)
		s, known := setNamed(name)
		switch {
		case !known:
			damage = fmt.Sprintf("set %s should not be there", name)
		case !holds(data, join(s.declaration(l.family))):
			damage = fmt.Sprintf("set %s is declared in another way", name)
		default:
			right[s] = true
			if size := find(find(data, unix.NFTA_SET_DESC), unix.NFTA_SET_DESC_SIZE); len(size) == 4 {
				sizes[s] = bigEndian.Uint32(size)
			}
		}
		return nil
	})
	for s := range setCount {
		if damage == "" && !right[s] {
			damage = fmt.Sprintf("set %s is gone", s.name())
		}
	}
	return damage, err
}

func join(attributes []attribute) (data []byte) {
	for _, a := range attributes {
		data = append(data, a...)
	}
	return data
}

// compareChains compares chains and rules with the layout, and collects the chains on demand.
func (c *connection) compareChains(l layout, onDemand map[chain]bool) (damage string, err error) {
	hooks := map[string][]byte{}
	err = c.dump(unix.NFT_MSG_GETCHAIN, l.family, nil, func(data []byte) error {
		if findText(data, unix.NFTA_CHAIN_TABLE) == tableName {
			hooks[findText(data, unix.NFTA_CHAIN_NAME)] = append([]byte(nil), data...)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	rules := map[string][][]byte{}
	err = c.dump(unix.NFT_MSG_GETRULE, l.family, []attribute{text(unix.NFTA_RULE_TABLE, tableName)}, func(data []byte) error {
		if findText(data, unix.NFTA_RULE_TABLE) == tableName {
			name := findText(data, unix.NFTA_RULE_CHAIN)
			rules[name] = append(rules[name], append([]byte(nil), find(data, unix.NFTA_RULE_EXPRESSIONS)...))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, fixed := range l.chains() {
		data, there := hooks[fixed.name]
		switch {
		case !there:
			return fmt.Sprintf("chain %s is gone", fixed.name), nil
		case !holds(data, join(fixed.hook.attributes())):
			return fmt.Sprintf("chain %s is entered in another way", fixed.name), nil
		}
		if damage := compareRules(fixed.name, rules[fixed.name], fixed.rules); damage != "" {
			return damage, nil
		}
		delete(hooks, fixed.name)
	}
	for name := range hooks {
		made, ok := chainNamed(name)
		if !ok {
			return fmt.Sprintf("chain %s should not be there", name), nil
		}
		if damage := compareRules(name, rules[name], l.rulesOf(made)); damage != "" {
			return damage, nil
		}
		onDemand[made] = true
	}
	return "", nil
}

func compareRules(chain string, found [][]byte, wanted []rule) string {
	if len(found) != len(wanted) {
		return fmt.Sprintf("chain %s has %d rules instead of %d", chain, len(found), len(wanted))
	}
	for i := range wanted {
		if !holds(found[i], join(wanted[i])) {
			return fmt.Sprintf("rule %d of chain %s is another one", i+1, chain)
		}
	}
	return ""
}

// errUnknownElement is returned by readElements for an element that no plan leads to.
var errUnknownElement = errors.New("an element that is none of a Service's")

// readElements calls f for every element of the sets that plans fill.
func (c *connection) readElements(l layout, f func(element) error) error {
	for s := range setCount {
		if s == affinity {
			continue
		}
		if err := c.readSet(l, s, func(e element, _ []byte) error { return f(e) }); err != nil {
			return fmt.Errorf("read set %s: %w", s.name(), err)
		}
	}
	return nil
}

// readSet calls f for every element of one set, with its attributes.
func (c *connection) readSet(l layout, s set, f func(e element, attributes []byte) error) error {
	names := []attribute{text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), text(unix.NFTA_SET_ELEM_LIST_SET, s.name())}
	keyLength, verdicts := s.keyLength(l.family), map[string]chain{}
	return c.dump(unix.NFT_MSG_GETSETELEM, l.family, names, func(data []byte) error {
		var failure error
		err := eachAttribute(find(data, unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, attributes []byte) bool {
			e := element{key: key{set: s}}
			if failure = e.parse(attributes, keyLength, verdicts); failure == nil {
				failure = f(e, attributes)
			}
			return failure == nil
		})
		return errors.Join(err, failure)
	})
}

func (e *element) parse(attributes []byte, keyLength int, verdicts map[string]chain) error {
	var data, end []byte
	err := eachAttribute(attributes, func(kind uint16, payload []byte) bool {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			if value := find(payload, unix.NFTA_DATA_VALUE); len(value) == keyLength {
				copy(e.bytes[:], value)
				keyLength = 0
			}
		case setElementKeyEnd:
			end = find(payload, unix.NFTA_DATA_VALUE)
		case unix.NFTA_SET_ELEM_DATA:
			data = payload
		}
		return true
	})
	if err != nil || keyLength != 0 {
		return errors.Join(err, errUnknownElement)
	}
	if e.set == sourceRanges {
		e.bits = uint8(commonBits(e.bytes[:], end))
	}
	if !e.set.isVerdictMap() {
		copy(e.data[:], find(data, unix.NFTA_DATA_VALUE))
		return nil
	}
	encoded := find(data, unix.NFTA_DATA_VERDICT)
	known := false
	if e.chain, known = verdicts[string(encoded)]; !known {
		e.chain = parseVerdict(encoded)
		verdicts[string(encoded)] = e.chain
	}
	return nil
}

// commonBits is the length of the network that ends a key whose last address is in end.
func commonBits(start, end []byte) int {
	same := 0
	for i := range end {
		if start[i] == end[i] {
			same += 8
			continue
		}
		same += bits.LeadingZeros8(start[i] ^ end[i])
		break
	}
	addressLength := 4
	if len(end) > 16 {
		addressLength = 16
	}
	return max(0, same-8*(len(end)-addressLength))
}

// parseVerdict is the chain that a verdict leads to; the zero chain if that is none of ours.
func parseVerdict(encoded []byte) chain {
	code := find(encoded, unix.NFTA_VERDICT_CODE)
	if len(code) != 4 {
		return chain{}
	}
	name := findText(encoded, unix.NFTA_VERDICT_CHAIN)
	switch number := int32(bigEndian.Uint32(code)); {
	case number == verdictDrop && name == "":
		return chain{kind: drop}
	case number == verdictGoto && name == chainNames[refuse]:
		return chain{kind: refuse}
	case number == verdictGoto:
		made, _ := chainNamed(name)
		return made
	}
	return chain{}
}

// difference says where elements are not as the state has them; empty if they are.
func (c *connection) difference(s *state) (string, error) {
	wanted := map[key]value{}
	s.each(func(e element) { wanted[e.key] = e.value })
	var other []string
	note := func(format string, k key) {
		if len(other) < 3 {
			other = append(other, fmt.Sprintf(format, k.set.name(), s.destinationOf(k).text(s.family)))
		}
	}
	count := 0
	err := c.readElements(s.layout, func(e element) error {
		found, ok := wanted[e.key]
		switch {
		case !ok:
			count++
			note("set %s has %s, which no Service has", e.key)
		case found != e.value:
			count++
			note("set %s says something else about %s", e.key)
		}
		delete(wanted, e.key)
		return nil
	})
	for k := range wanted {
		count++
		note("set %s lacks %s", k)
	}
	if count > len(other) {
		other = append(other, fmt.Sprintf("and %d more", count-len(other)))
	}
	return strings.Join(other, ", "), err
}
