package daemon

import (
	"strings"
	"time"
)

// What is kept, and for how long, unless the Config says otherwise.
const (
	maxJobs      = 64 // queued and running
	retainMax    = 64 // finished jobs
	retainTime   = 10 * time.Minute
	preparedMax  = 64
	preparedTime = time.Hour
)

// What is kept of jobs and plans, in memory and below the state directory.
const (
	// maxSubject bounds the text that says what a job is about, in bytes.
	maxSubject = 4 << 10
	// maxMessage bounds the message of a job that failed, in bytes.
	maxMessage = 4 << 10
	// maxStatusText bounds the line for people, in bytes.
	maxStatusText = 1 << 10
	// maxResults bounds what a job keeps of its results, in bytes of JSON. The results of those who
	// wait for them are not kept.
	maxResults = 4 << 20
	// maxRecord bounds one file of the state directory, in bytes.
	maxRecord = 24 << 20
	// maxJobRecord bounds the record of a job, in bytes.
	maxJobRecord = 8 << 20
	// maxPlans bounds the manifests and configs of all stored plans together, in bytes.
	maxPlans = 64 << 20
)

// shorten cuts a text that is longer than limit, in bytes, and says so by its end.
func shorten(text string, limit int) string {
	const mark = " …"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}
