/* Model files are mapped: one that is cut while it is in use, or whose disk fails, is a SIGBUS in
 * whatever thread reads it. */
#pragma once

/* From now on that ends the program like other failures of the environment: one message that names
 * the file, exit status 1, no temporary output left. program is the command's name and must stay. */
void vlmp_map_fault_install(const char *program);
