#include "tools/doctor.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

vlmp_finding *vlmp_findings_add(vlmp_findings *findings, const char *name)
{
    assert(findings->count < VLMP_FINDINGS);
    vlmp_finding *finding = &findings->items[findings->count++];
    *finding = (vlmp_finding){.name = name};
    return finding;
}

void vlmp_finding_say(vlmp_finding *finding, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    vsnprintf(finding->text, sizeof finding->text, fmt, list);
    va_end(list);
}

void vlmp_finding_advise(vlmp_finding *finding, vlmp_finding_state state, const char *fmt, ...)
{
    size_t used = strlen(finding->advice), room = sizeof finding->advice - used;
    va_list list;
    if (used > 0) used += (size_t)snprintf(finding->advice + used, room, "; ");
    va_start(list, fmt);
    if (used < sizeof finding->advice)
        vsnprintf(finding->advice + used, sizeof finding->advice - used, fmt, list);
    va_end(list);
    if (finding->state < state) finding->state = state;
}

void vlmp_finding_value_of(vlmp_finding *finding, const char *key, double value)
{
    assert(finding->value_count < VLMP_FINDING_VALUES);
    finding->values[finding->value_count++] = (vlmp_finding_value){key, value};
}
