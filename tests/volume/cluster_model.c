/* Facts and what they may be (cluster.h). */
#include "cluster.h"

static void may_be(struct fact *f, uint32_t value)
{
        for (unsigned k = 0; k < f->n_maybe; k++)
                if (f->maybe[k] == value)
                        return;
        if (f->n_maybe == FACT_VALUES)
                f->lost = true;
        else
                f->maybe[f->n_maybe++] = value;
}

void fact_try(struct fact *f, uint32_t value)
{
        if (f->n_maybe == 0)
                may_be(f, f->now);
        may_be(f, value);
}

void fact_done(struct fact *f, uint32_t value, uint64_t now)
{
        if (f->n_past == FACT_VALUES) {
                memmove(f->past, f->past + 1, sizeof f->past - sizeof f->past[0]);
                f->n_past--;
        }
        f->past[f->n_past].value = f->now;
        f->past[f->n_past++].until = now;
        f->now = value;
        f->n_maybe = 0;
        f->lost = false;
}

bool fact_accepts(const struct fact *f, uint32_t value)
{
        if (f->lost || (f->n_maybe == 0 && f->now == value))
                return true;
        for (unsigned k = 0; k < f->n_maybe; k++)
                if (f->maybe[k] == value)
                        return true;
        return false;
}

void fact_adopt(struct fact *f, uint32_t value)
{
        *f = (struct fact){.now = value};
}

void fact_power_cut(struct fact *f, uint64_t since)
{
        for (unsigned k = 0; k < f->n_past; k++)
                if (f->past[k].until >= since)
                        fact_try(f, f->past[k].value);
}

const char *fact_print(const struct fact *f, char text[static 160])
{
        int n = snprintf(text, 160, "%u", f->now);
        for (unsigned k = 0; k < f->n_maybe; k++)
                n += snprintf(text + n, (size_t)(160 - n), "%s%u", k ? "|" : " now one of ", f->maybe[k]);
        return text;
}

uint64_t record_offset_own(unsigned page)
{
        return (uint64_t)page * PAGE;
}

uint64_t record_offset_shared(unsigned worker, unsigned page)
{
        return ((uint64_t)page * WORKERS_MAX + worker) * PAGE;
}

int64_t record_number(const char *data, int n)
{
        unsigned number = 0;
        int used = 0;
        char text[RECORD + 1];
        int zeros = 0;
        while (zeros < n && data[zeros] == '\0')
                zeros++;
        if (zeros == n)
                return 0;
        memcpy(text, data, (size_t)n);
        text[n] = '\0';
        if (n != RECORD || sscanf(text, "%u%n", &number, &used) != 1 || strspn(text + used, " ") != RECORD - (size_t)used)
                return -1;
        return number;
}
