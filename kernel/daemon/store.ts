/**
 * The run registry and every event of every run, in SQLite. The daemon is the only writer: an exclusive lock on the
 * file makes a second daemon fail to open it, and dies with the process that holds it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { RunEvent, RunSummary } from '../protocol/events.ts';

/** What is stored of a run beside its events. */
export interface StoredRun {
  readonly summary: RunSummary;
  /** Resolved configuration. */
  readonly config: unknown;
}

/** Migrations by version: entry i brings the schema from version i to i + 1. */
const migrations = [
  `CREATE TABLE runs (
     run TEXT PRIMARY KEY,
     created_at REAL NOT NULL,
     config TEXT NOT NULL,
     summary TEXT NOT NULL
   ) STRICT;
   CREATE TABLE events (
     run TEXT NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
     sequence INTEGER NOT NULL,
     event TEXT NOT NULL,
     PRIMARY KEY (run, sequence)
   ) STRICT, WITHOUT ROWID;`,
];

/** Thrown when another daemon has the store open. */
export class StoreLocked extends Error {}

/** The open store. */
export class Store {
  readonly #database: DatabaseSync;
  readonly #insertEvent: StatementSync;
  readonly #updateSummary: StatementSync;
  readonly #selectEvents: StatementSync;

  /** Opens or creates `runs.sqlite` in `home`. Throws StoreLocked, or an Error when the file is of a newer version. */
  constructor(home: string) {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    this.#database = new DatabaseSync(join(home, 'runs.sqlite'));
    try {
      // In exclusive mode the lock is taken at the first access and held until the process ends.
      this.#database.exec(
        'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;' +
          // Survives the death of this process; only a power cut may cost the last moments, never the file.
          'PRAGMA synchronous = NORMAL;',
      );
      this.#migrate();
    } catch (error) {
      this.#database.close();
      if (error instanceof Error && /locked|busy/.test(error.message)) throw new StoreLocked(error.message);
      throw error;
    }
    this.#insertEvent = this.#database.prepare('INSERT INTO events (run, sequence, event) VALUES (?, ?, ?)');
    this.#updateSummary = this.#database.prepare('UPDATE runs SET summary = ? WHERE run = ?');
    this.#selectEvents = this.#database.prepare(
      'SELECT event FROM events WHERE run = ? AND sequence >= ? ORDER BY sequence LIMIT ?',
    );
  }

  #migrate(): void {
    const { user_version: version } = this.#database.prepare('PRAGMA user_version').get() as {
      user_version: number;
    };
    if (version > migrations.length) {
      throw new Error(
        `The run store is of version ${version} and this gpt-lab knows up to ${migrations.length}: update gpt-lab`,
      );
    }
    this.#database.exec('BEGIN IMMEDIATE');
    for (const migration of migrations.slice(version)) this.#database.exec(migration);
    this.#database.exec(`PRAGMA user_version = ${migrations.length}; COMMIT`);
  }

  /** Adds a run. */
  insert({ summary, config }: StoredRun): void {
    this.#database
      .prepare('INSERT INTO runs (run, created_at, config, summary) VALUES (?, ?, ?, ?)')
      .run(summary.run, summary.createdAt, JSON.stringify(config), JSON.stringify(summary));
  }

  /** Stores events and the summary after them, all or nothing. */
  append(summary: RunSummary, events: readonly RunEvent[]): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const event of events) this.#insertEvent.run(summary.run, event.sequence, JSON.stringify(event));
      this.#updateSummary.run(JSON.stringify(summary), summary.run);
      this.#database.exec('COMMIT');
    } catch (error) {
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** All runs, oldest first. */
  runs(): StoredRun[] {
    const rows = this.#database.prepare('SELECT config, summary FROM runs ORDER BY created_at, run').all();
    return rows.map((row) => ({
      config: JSON.parse(String(row['config'])) as unknown,
      summary: JSON.parse(String(row['summary'])) as RunSummary,
    }));
  }

  /** Events of a run from number `from`, at most `limit`. */
  events(run: string, from: number, limit: number): RunEvent[] {
    const rows = this.#selectEvents.all(run, from, limit);
    return rows.map((row) => JSON.parse(String(row['event'])) as RunEvent);
  }

  /** Deletes a run and its events. */
  remove(run: string): void {
    this.#database.prepare('DELETE FROM runs WHERE run = ?').run(run);
  }

  close(): void {
    this.#database.close();
  }
}
