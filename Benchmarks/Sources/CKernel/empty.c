// SwiftPM wants a source file in a target; all of this one is in its header.
#include "kernel.h"
