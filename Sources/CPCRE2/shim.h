// PCRE2 wants its code unit width chosen before its header is read. Its entry points are macros that paste the width on,
// which Swift cannot import, so the suffixed names (pcre2_compile_8 and so on) are what the engine calls.
#ifndef SWITCHBACK_CPCRE2_SHIM_H
#define SWITCHBACK_CPCRE2_SHIM_H
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif
