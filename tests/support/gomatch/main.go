// Command gomatch answers, with the Go packages that BuildKit uses, what a list of patterns means
// and what a walk of a directory sends. Tests compare our answers with these.
//
// It reads one JSON object from standard input and writes one to standard output. Every string
// stands for bytes: one character per byte, U+0000 to U+00FF, so that names need not be UTF-8.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	gofs "io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

type bytesText string

func (b *bytesText) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	raw := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return fmt.Errorf("%q is no text of bytes", text)
		}
		raw = append(raw, byte(r))
	}
	*b = bytesText(raw)
	return nil
}

func (b bytesText) MarshalJSON() ([]byte, error) {
	runes := make([]rune, len(b))
	for i := range len(b) {
		runes[i] = rune(b[i])
	}
	return json.Marshal(string(runes))
}

func plain(in []bytesText) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}

func wrap(in []string) []bytesText {
	out := make([]bytesText, len(in))
	for i, s := range in {
		out[i] = bytesText(s)
	}
	return out
}

type matchCase struct {
	Patterns []bytesText `json:"patterns"`
	Paths    []bytesText `json:"paths"`
}

// matchResult has a character for each path: 1 matches, 0 does not, e is an error.
type matchResult struct {
	Refused bool   `json:"refused"`
	Walking string `json:"walking"` // from the top of the tree down, handing on parents' results
}

func runMatch(c matchCase) matchResult {
	matcher, err := patternmatcher.New(plain(c.Patterns))
	if err != nil {
		return matchResult{Refused: true}
	}
	walking := ""
	for _, path := range plain(c.Paths) {
		matched, err := matchFromTop(matcher, path)
		switch {
		case err != nil:
			walking += "e"
		case matched:
			walking += "1"
		default:
			walking += "0"
		}
	}
	return matchResult{Walking: walking}
}

func matchFromTop(matcher *patternmatcher.PatternMatcher, path string) (matched bool, err error) {
	var info patternmatcher.MatchInfo
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		matched, info, err = matcher.MatchesUsingParentResults(path[:i], info)
		if err != nil {
			return false, err
		}
	}
	return matched, nil
}

type globCase struct {
	Pattern bytesText `json:"pattern"`
	Name    bytesText `json:"name"`
}

func runGlob(c globCase) string {
	matched, err := filepath.Match(string(c.Pattern), string(c.Name))
	switch {
	case err != nil:
		return "e"
	case matched:
		return "1"
	default:
		return "0"
	}
}

type walkCase struct {
	Root    string      `json:"root"`
	Include []bytesText `json:"include"`
	Exclude []bytesText `json:"exclude"`
	Follow  []bytesText `json:"follow"`
}

type entry struct {
	Path     bytesText            `json:"path"`
	Mode     uint32               `json:"mode"`
	Size     int64                `json:"size"`
	ModTime  int64                `json:"modified_ns"`
	Link     bytesText            `json:"link"`
	Devmajor int64                `json:"devmajor"`
	Devminor int64                `json:"devminor"`
	Xattrs   map[string]bytesText `json:"xattrs,omitempty"`
}

type walkResult struct {
	Error    string      `json:"error"`
	Followed []bytesText `json:"followed"` // null: no filter by follow-paths
	Entries  []entry     `json:"entries"`
}

func runWalk(c walkCase) (result walkResult) {
	root, err := fsutil.NewFS(c.Root)
	if err != nil {
		return walkResult{Error: err.Error()}
	}
	if c.Follow != nil {
		followed, err := fsutil.FollowLinks(root, plain(c.Follow))
		if err != nil {
			return walkResult{Error: err.Error()}
		}
		if followed != nil {
			result.Followed = wrap(followed)
		}
	}
	filtered, err := fsutil.NewFilterFS(root, &fsutil.FilterOpt{
		IncludePatterns: plain(c.Include),
		ExcludePatterns: plain(c.Exclude),
		FollowPaths:     plain(c.Follow),
	})
	if err != nil {
		return walkResult{Error: err.Error()}
	}
	result.Entries = []entry{}
	err = fsutil.WithHardlinkReset(filtered).Walk(context.Background(), "/", func(_ string, d gofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*types.Stat)
		one := entry{
			Path: bytesText(stat.Path), Mode: stat.Mode, Size: stat.Size, ModTime: stat.ModTime,
			Link: bytesText(stat.Linkname), Devmajor: stat.Devmajor, Devminor: stat.Devminor,
		}
		for key, value := range stat.Xattrs {
			if one.Xattrs == nil {
				one.Xattrs = map[string]bytesText{}
			}
			one.Xattrs[key] = bytesText(value)
		}
		result.Entries = append(result.Entries, one)
		return nil
	})
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// ignoreResult is what an ignore file says; null patterns are a refusal.
type ignoreResult struct {
	Patterns []bytesText `json:"patterns"`
}

func runIgnore(content bytesText) ignoreResult {
	patterns, err := ignorefile.ReadAll(bytes.NewReader([]byte(content)))
	if err != nil {
		return ignoreResult{}
	}
	return ignoreResult{Patterns: wrap(patterns)}
}

type request struct {
	Match  []matchCase `json:"match"`
	Glob   []globCase  `json:"glob"`
	Walk   []walkCase  `json:"walk"`
	Clean  []bytesText `json:"clean"`
	Ignore []bytesText `json:"ignore"`
}

type answer struct {
	Match  []matchResult  `json:"match"`
	Glob   []string       `json:"glob"`
	Walk   []walkResult   `json:"walk"`
	Clean  []bytesText    `json:"clean"`
	Ignore []ignoreResult `json:"ignore"`
}

func main() {
	var in request
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, "gomatch:", err)
		os.Exit(2)
	}
	out := answer{}
	for _, c := range in.Match {
		out.Match = append(out.Match, runMatch(c))
	}
	for _, c := range in.Glob {
		out.Glob = append(out.Glob, runGlob(c))
	}
	for _, c := range in.Walk {
		out.Walk = append(out.Walk, runWalk(c))
	}
	for _, c := range in.Clean {
		out.Clean = append(out.Clean, bytesText(filepath.Clean(string(c))))
	}
	for _, c := range in.Ignore {
		out.Ignore = append(out.Ignore, runIgnore(c))
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, "gomatch:", err)
		os.Exit(2)
	}
}
