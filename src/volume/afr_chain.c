/* Chains of operations on several children at once (subvolume.h, afr.h).
 *
 * One list of chains is built, run, and then read step by step: each step remembers what it was for.
 */
#include "volume/afr.h"

void afr_chains_init(struct afr_chains *x, struct afr *a, struct arena *arena)
{
        *x = (struct afr_chains){.afr = a, .arena = arena};
        x->tail = &x->head;
}

struct afr_chain *afr_chain_new(struct afr_chains *x, unsigned child)
{
        struct afr_chain *c = arena_alloc(x->arena, sizeof *c);
        if (!c) {
                x->failed = true;
                return NULL;
        }
        c->child = child;
        *x->tail = c;
        x->tail = &c->next;
        x->n++;
        return c;
}

void afr_chain_add(struct afr_chains *x, struct afr_chain *c, enum fop fop, struct request *r, const void *req,
                   enum afr_purpose purpose, unsigned number)
{
        void *rep = c && req ? arena_alloc(x->arena, afr_rep_size(fop)) : NULL;
        if (!rep || c->n >= AFR_STEPS_MAX) {
                x->failed = true;
                return;
        }
        c->steps[c->n] = (struct chain_step){.fop = fop, .request = r, .req = req, .rep = rep, .result = -ECANCELED};
        c->purposes[c->n] = purpose;
        c->numbers[c->n++] = (uint8_t)number;
}

int afr_chains_run(struct fibre *self, struct afr_chains *x)
{
        struct chain *chains = x->n > 0 ? arena_alloc_array(x->arena, x->n, sizeof *chains) : NULL;
        if (x->failed || (x->n > 0 && !chains))
                return -ENOMEM;
        unsigned n = 0;
        for (struct afr_chain *c = x->head; c; c = c->next) {
                if (c->n > 0)
                        chains[n++] = (struct chain){x->afr->base.children[c->child], c->steps, c->n};
        }
        subvolume_chain_fan_out(self, chains, n);
        return 0;
}

void afr_chains_answers(const struct afr_chains *x, enum afr_purpose purpose, unsigned number, struct afr_answers *ret)
{
        for (const struct afr_chain *c = x->head; c; c = c->next) {
                for (unsigned k = 0; k < c->n; k++) {
                        if (c->purposes[k] != purpose || c->numbers[k] != number)
                                continue;
                        const struct chain_step *s = &c->steps[k];
                        ret->fop = s->fop;
                        ret->asked |= AFR_BIT(c->child);
                        ret->ok &= ~AFR_BIT(c->child);
                        ret->ok |= s->result >= 0 ? AFR_BIT(c->child) : 0;
                        ret->req[c->child] = s->req;
                        ret->rep[c->child] = s->rep;
                        ret->result[c->child] = s->result;
                }
        }
}
