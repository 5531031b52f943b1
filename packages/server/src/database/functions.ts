/**
 * Installs the SQL functions of the server: one file each in functions/, edited in place. The whole
 * set has a number, which `npm run docs` raises after each change. A server installs its set only
 * if its number is higher than that of the database, so servers of two versions can run side by
 * side: the older server works with the newer functions. A changed signature is therefore a new
 * function, and the old function is kept for one version
 * (docs/decisions/0033-sql-functions-in-files.md).
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { Database } from './database.ts'
import { functionSet } from './function-set.ts'
import { withUnixLineEnds } from './line-ends.ts'

interface SqlFunction {
  readonly name: string
  readonly text: string
}

/**
 * Reads the files of the SQL functions. They are in src/database/functions, for a server run from
 * source and for the built one.
 */
export function readFunctions(): SqlFunction[] {
  const directory = new URL('../../src/database/functions/', import.meta.url)
  return readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({ name, text: withUnixLineEnds(readFileSync(new URL(name, directory), 'utf8')) }))
}

/** Returns the number of the installed set of SQL functions, or 0 if none was installed yet. */
export async function readFunctionSetNumber(database: Database): Promise<number> {
  const [row] = await database.query<{ value: string }>({
    text: `select value from settings where key = 'functions'`,
  })
  return Number(row?.value ?? 0)
}

/**
 * Returns the script that installs the set of SQL functions. The script compares the numbers again
 * under the lock that `takeTurns` takes, because another server may have installed a newer set in
 * between.
 */
export function installScript(takeTurns: string, number: number = functionSet.number): string {
  const bodies = readFunctions().map(({ text }) => `execute $chorus_function$${text}$chorus_function$;`)
  return `${takeTurns};
    -- The functions call each other, in any order.
    select set_config('check_function_bodies', 'off', true);
    do $chorus_set$ begin
      if coalesce((select value::integer from settings where key = 'functions'), 0) < ${number} then
        ${bodies.join('\n')}
        insert into settings (key, value) values ('functions', '${number}')
          on conflict (key) do update set value = excluded.value;
      end if;
    end $chorus_set$`
}
