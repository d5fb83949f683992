/* The version of this program: shown by --version, in /health and metrics, and in the User-Agent of what it sends. */
#ifndef WSHEALTHD_BASE_VERSION_H
#define WSHEALTHD_BASE_VERSION_H

#define WSHEALTHD_VERSION "0.1.0"

#endif
