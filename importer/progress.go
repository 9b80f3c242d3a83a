package importer

import "github.com/opencontainers/go-digest"

// Progress is a sample of a running import or other operation. Byte counts are compressed sizes.
type Progress struct {
	Stage        Stage           `json:"stage"`
	LayersTotal  int             `json:"layers-total"` // distinct layers, cached ones included
	LayersCached int             `json:"layers-cached"`
	LayersDone   int             `json:"layers-done"` // of those that had to be fetched
	Bytes        uint64          `json:"bytes"`       // of finished layers and of the attempts that run
	BytesCached  uint64          `json:"bytes-cached"`
	BytesTotal   uint64          `json:"bytes-total"` // of the layers to fetch
	Running      []LayerProgress `json:"running"`     // by index
	// Steps and StepsTotal count what an operation other than an import works through: objects, layers or refs. A total of 0 is
	// not known.
	Steps      uint64 `json:"steps,omitempty"`
	StepsTotal uint64 `json:"steps-total,omitempty"`
}

// LayerProgress is a layer that is being fetched.
type LayerProgress struct {
	Index   int           `json:"index"` // counted from 1
	Digest  digest.Digest `json:"digest"`
	Bytes   uint64        `json:"bytes"`
	Size    uint64        `json:"size"`
	Attempt int           `json:"attempt"` // counted from 1
}
