/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The notes of a plan: one sentence each, complete enough to be logged alone. */
#include <errno.h>
#include <stdarg.h>

#include "control/plan_internal.h"
#include "util/macros.h"

void plan_note(struct plan_builder *b, enum plan_severity severity, uint32_t port, const char *fmt,
	       ...)
{
	struct plan_note *notes =
		reallocarray(b->notes.notes, b->notes.n + 1, sizeof(*b->notes.notes));
	char *text;
	va_list args;
	int n;

	if (severity == PLAN_ERROR)
		b->has_errors = true;
	if (!notes) {
		b->error = -ENOMEM;
		return;
	}
	b->notes.notes = notes;
	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0) {
		b->error = -ENOMEM;
		return;
	}
	notes[b->notes.n++] = (struct plan_note){.severity = severity, .port = port, .text = text};
}

void plan_notes_fini(struct plan_notes *notes)
{
	for (uint32_t i = 0; i < notes->n; i++)
		free(notes->notes[i].text);
	free(notes->notes);
	*notes = (struct plan_notes){0};
}
