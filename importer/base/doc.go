// Package base reads from the commit that an image is built on what decides how the image's own
// layers are imported: whether a host keeps what lies outside /usr, and the SELinux policy that
// files are labelled by.
package base
