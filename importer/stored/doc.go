// Package stored reads images and layers as a repository holds them: in the metadata of commits
// that this or another importer wrote.
package stored
