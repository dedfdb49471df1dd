"""Rate limits: how many requests a credential may make in a minute, over all gateways.

| module | owns |
|---|---|
| `gcra` | the rule, pure: a bucket and a time in, a decision out |
| `local` | the buckets of this process, bounded |
| `shared` | the buckets in Redis, which all gateways share; `gcra.lua` is the same rule there |
| `limiter` | which of the two decides: Redis while it answers, this process otherwise |
| `gate` | who a request is charged to, and what the response says about it |

This package must not know any API, and it never fails a request: whatever happens to Redis, requests go on.
"""
