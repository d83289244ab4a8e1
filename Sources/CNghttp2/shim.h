// libnghttp2: frames, HPACK and the state of HTTP/2 connections.
#ifndef SWITCHBACK_CNGHTTP2_SHIM_H
#define SWITCHBACK_CNGHTTP2_SHIM_H
#include <nghttp2/nghttp2.h>
#endif
