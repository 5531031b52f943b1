import { describe, expect, it } from 'vitest'
import { applyMutant } from './apply-mutant.ts'
import { findCode, findDeclarations, parseCode, parsePattern } from './find-code.ts'
import { findSql } from './find-sql.ts'
import type { MutantEdit } from './mutant.ts'

const source = `
  export class Feed {
    /** Comment. */
    accept(change: Change): void {
      if (change.seq < this.#next) return // too low
      this.#take(change, 'held',)
    }
    get next() { return this.#next }
  }
  export const plan = async (seq: number) => {
    if (seq > 3) return { kind: 'changes', after: seq - 1 }
    return { kind: 'changes', after: seq }
  }
`

const texts = (code: string, scope?: string): string[] => {
  const file = parseCode('feed.ts', source)
  const scopes = scope === undefined ? [file] : findDeclarations(file, scope)
  return scopes.flatMap((node) => findCode(node, parsePattern(code)).map(({ start, end }) => source.slice(start, end)))
}

describe('patterns of code in a mutant', () => {
  it('a code pattern ignores layout, kinds of quotes and comments', () => {
    expect(texts('this.#take( change,\n "held" );')).toEqual(["this.#take(change, 'held',)"])
    expect(texts('if (change.seq < this.#next) /* low */ return;')).toEqual(['if (change.seq < this.#next) return'])
    expect(texts("({ kind: 'changes', after: seq, })")).toEqual(["{ kind: 'changes', after: seq }"])
    expect(texts('this.#take(change)')).toEqual([])
    expect(texts('change.seq <= this.#next')).toEqual([])
  })

  it('a repeated $ name in a code pattern matches only equal expressions', () => {
    expect(texts('$change.seq < $next')).toEqual(['change.seq < this.#next'])
    expect(texts('$same.seq < $same')).toEqual([])
  })

  it('a $ name after three dots matches all remaining elements of a list', () => {
    expect(texts("({ kind: 'changes', ...$rest })")).toHaveLength(2)
    expect(texts("({ kind: 'changes', after: seq, ...$rest })")).toHaveLength(1)
    expect(texts('$call(...$all)')).toEqual(["this.#take(change, 'held',)"])
    expect(texts("({ kind: 'limited', ...$rest })")).toEqual([])
  })

  it('a code pattern is searched in the named declarations only', () => {
    expect(texts('this.#next')).toHaveLength(2)
    expect(texts('this.#next', 'Feed.accept')).toHaveLength(1)
    expect(texts('seq', 'plan.after')).toEqual(['seq', 'seq'])
    expect(texts('seq - 1', 'plan.after')).toEqual(['seq - 1'])
    expect(texts('this.#next', 'Feed.missing')).toEqual([])
  })

  it('a code pattern must be one expression or statement', () => {
    expect(() => parsePattern('a(); b()')).toThrow(/not one expression or statement/)
    expect(() => parsePattern('}; function x() {')).toThrow(/not one expression or statement/)
  })
})

describe('patterns of SQL in a mutant', () => {
  it('an SQL pattern ignores layout, letter case and comments', () => {
    const sql = "SELECT a -- 'comment'\n  from b where c = 'It''s' and (d = $1)"
    const found = (pattern: string) => findSql(sql, pattern).map(({ start, end }) => sql.slice(start, end))
    expect(found('select a from b')).toEqual(["SELECT a -- 'comment'\n  from b"])
    expect(found("c='It''s'")).toEqual(["c = 'It''s'"])
    expect(found('d=$1')).toEqual(['d = $1'])
    expect(found("c = 'it''s'")).toEqual([])
    expect(found('a from')).toHaveLength(1)
    expect(found('ro')).toEqual([])
  })
})

describe('the edits of a mutant', () => {
  const sources = new Map([
    ['packages/server/src/feed.ts', source],
    ['packages/server/src/read.ts', 'const read = () => query(`select 1 where a`, `select 2`)'],
    ['packages/server/src/migrations/1.sql', 'create or replace function f() as $$ select 1 $$;'],
    ['packages/server/src/functions/f.sql', 'create or replace function f() as $$ select 1 $$;'],
    ['packages/server/src/functions/g.sql', 'create or replace function g() as $$ select 1 $$;'],
  ])
  const apply = (...edits: MutantEdit[]) => [...applyMutant({ name: 'x', edits }, sources)]

  it('a mutant’s edit changes only the file of its target', () => {
    expect(apply({ kind: 'code', in: 'Feed.accept', find: '$a < $b', becomes: '$b < $a + 1' })).toEqual([
      ['packages/server/src/feed.ts', source.replace('change.seq < this.#next', 'this.#next < change.seq + 1')],
    ])
    expect(apply({ kind: 'start', in: 'plan', add: 'seq = 1' })).toEqual([
      ['packages/server/src/feed.ts', source.replace('=> {', '=> { seq = 1;')],
    ])
    expect(apply({ kind: 'sql', in: 'f', find: 'select 1', becomes: 'select 2' })).toEqual([
      ['packages/server/src/functions/f.sql', 'create or replace function f() as $$ select 2 $$;'],
    ])
    expect(apply({ kind: 'sql', in: 'read', find: 'where a', becomes: '' })).toEqual([
      ['packages/server/src/read.ts', 'const read = () => query(`select 1 `, `select 2`)'],
    ])
  })

  it('a mutant’s edit can insert the list elements that a pattern matched', () => {
    const [first] = apply({ kind: 'code', find: '({ kind: $kind, after: seq - 1, ...$rest })', becomes: '[...$rest]' })
    expect(first?.[1]).toContain('return []')
    const [second] = apply({ kind: 'code', find: 'this.#take(...$all)', becomes: 'this.#drop(1, ...$all)' })
    expect(second?.[1]).toContain("this.#drop(1, change, 'held')")
  })

  it('a mutant’s edit sees the result of the edits before it', () => {
    const [first] = apply(
      { kind: 'sql', in: 'read', find: 'select 1', becomes: 'select 3' },
      { kind: 'sql', in: 'read', find: 'select 3', becomes: 'select 4' },
    )
    expect(first?.[1]).toContain('select 4')
  })

  it('a mutant’s edit fails unless it matches exactly one place', () => {
    expect(() => apply({ kind: 'code', find: 'missing()', becomes: '' })).toThrow(/"missing\(\)" was found 0 times/)
    expect(() => apply({ kind: 'code', find: 'this.#next', becomes: '' })).toThrow(/found 2 times/)
    expect(() => apply({ kind: 'start', in: 'Feed.missing', add: 'return' })).toThrow(/Feed.missing was found 0 times/)
    expect(() => apply({ kind: 'start', in: 'Feed', add: 'return' })).toThrow(/found 0 times/)
    expect(() => apply({ kind: 'sql', find: 'select 1', becomes: '' })).toThrow(/found 3 times/)
    expect(() => apply({ kind: 'code', find: '$a < $b', becomes: '$c' })).toThrow(/\$c has no meaning/)
    expect(() => apply({ kind: 'code', find: '$a < $b', becomes: '$a < $b' })).toThrow(/stays as it is/)
  })
})
