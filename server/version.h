/* server/version.h: which holdfastd this is. */
#ifndef SERVER_VERSION_H
#define SERVER_VERSION_H

#define HOLDFAST_VERSION "0.1.0"

#endif
