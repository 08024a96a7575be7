/* What a build computes with, as one number. */
#pragma once

/* SHA-256 of the sources and of how they are compiled; hex. The same in every program of a build.
 */
const char *vlmp_source_id(void);
