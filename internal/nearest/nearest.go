// Package nearest finds what a person most likely meant by a name that is none.
package nearest

import "strings"

// Name returns the candidate that a person most likely meant by asked: equal but for letter case, or at most two
// letters away. "" if there is none.
func Name(asked string, candidates []string) string {
	best, bestDistance := "", 3
	for _, c := range candidates {
		d := distance(strings.ToLower(asked), strings.ToLower(c), bestDistance)
		if c != asked && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes, or limit if it is at least that.
func distance(a, b string, limit int) int {
	if max(len(a), len(b))-min(len(a), len(b)) >= limit {
		return limit
	}
	// What both begin and end with counts for nothing. ARNs of one account share all but the end: to walk through that for
	// each of two thousand keys, for each of many identities that are absent, takes longer than a plugin may.
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}
