/* base/version.h: which Holdfast this is: what `holdfast --version` and `holdfastd --version` say.
 */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define HOLDFAST_VERSION "0.1.0"

#endif
