package dbus

// What a call on the bus may hold. All of it is checked before the call is decoded: see gate.
const (
	// maxCall bounds a message to the daemon, in bytes.
	maxCall = 1 << 20
	// maxHeader bounds the fields of a message's header, in bytes.
	maxHeader = 32 << 10
	// maxPath bounds an object's path, in bytes: it has room for the escaped name of an image, with
	// three bytes for each.
	maxPath = 3*maxText + 256
	// maxText bounds each text in a call, in bytes: a reference, a path, an option's name or value.
	maxText = 4 << 10
	// maxEntries bounds each list and map in a call.
	maxEntries = 1024
	// maxValues bounds how many values a call holds, those inside others included.
	maxValues = 4096
	// maxDescriptors bounds the descriptors that a call brings, and descriptorCost is what each of
	// them counts as, in bytes, when calls in work are counted.
	maxDescriptors = 8
	descriptorCost = 64 << 10
	// maxNesting bounds how deep lists, structures, entries of maps and variants in a call lie in
	// each other. An option whose value is a map of texts needs five.
	maxNesting = 5
)

// What the daemon works on at the same time.
const (
	// maxUserCalls and maxUserBytes bound the calls that a user has in work: those that wait for
	// their turn, run, or wait for a job or for polkit. A single call may be larger than what is
	// left of the bytes.
	maxUserCalls = 64
	maxUserBytes = 4 << 20
	// maxRootCalls and maxRootBytes are the same for root, who could end the daemon as well.
	maxRootCalls = 1024
	maxRootBytes = 64 << 20
	// maxStrangerCalls and maxStrangerBytes bound together the calls of all senders whose user the
	// bus has not yet told.
	maxStrangerCalls = 256
	maxStrangerBytes = 8 << 20
	// ownStrangerCalls and ownStrangerBytes are what each such sender may have in work beyond that,
	// and maxStrangers bounds these senders. It is as many as dbus-daemon has connections.
	ownStrangerCalls = 4
	ownStrangerBytes = 128 << 10
	maxStrangers     = 2048
	// maxRunning is how many calls of all users but root run at the same time, and how many of
	// root's besides.
	maxRunning = 4
	// maxClosing is how many descriptors of refused messages wait to be closed before the kernel is
	// asked to drop what comes.
	maxClosing = 256
	// maxSenders is how many senders' users are remembered.
	maxSenders = 1024
)

// What the daemon sends.
const (
	// maxMessage bounds a message of the daemon, in bytes. A bus ends the connection of who sends a
	// larger one than it takes, which is 32 MiB by default.
	maxMessage = 17 << 20
	// maxRefusals bounds the answers to calls that were refused and that the bus has not taken yet,
	// in bytes.
	maxRefusals = 16 << 20
	// maxDescription bounds the JSON of one answer, in bytes.
	maxDescription = 16 << 20
	// maxJobDescription bounds the JSON of one job in an answer about all jobs, in bytes.
	maxJobDescription = 64 << 10
	// maxListed bounds lists and maps in the results of a job.
	maxListed = 1024
	// maxErrorMessage bounds a text in an answer, such as an error's, in bytes.
	maxErrorMessage = 8 << 10
)
