/* Ends that no function returns from, made like other failures of the environment: one message,
 * exit status 1, no temporary output left.
 *
 *   * Model files are mapped: one that is cut while it is in use, or whose disk fails, is a SIGBUS
 * in whatever thread reads it.
 *   * A library that finds no memory when it is opened may end the process (libgfortran does). */
#pragma once

/* From here on. program is the command's name and must stay. */
void vlmp_abnormal_end_watch(const char *program);

/* From here on the program ends by itself. */
void vlmp_abnormal_end_stop(void);
