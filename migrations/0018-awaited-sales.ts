import type { Step } from "../lib/steps";

export const awaitedSales: Step = {
  name: "0018-awaited-sales",
  up: [
    // Sales that were to come when somebody last looked, until their start has been told: it is told once each time
    // that one begins, however often a host moves it to and fro.
    `CREATE TABLE awaited_sales (
       event_id uuid PRIMARY KEY REFERENCES events ON DELETE CASCADE,
       opens_at timestamptz(3) NOT NULL
     )`,
    "CREATE INDEX awaited_sales_in_order ON awaited_sales (opens_at, event_id)",
    `INSERT INTO awaited_sales (event_id, opens_at)
     SELECT id, sale_starts_at FROM events e
      WHERE sale_starts_at > now() - interval '30 days' AND deleted_at IS NULL AND status IN ('published', 'postponed')
        AND NOT EXISTS (SELECT FROM told_moments t WHERE t.event_id = e.id AND t.kind = 'saleStarted'
                           AND t.told_at >= e.sale_starts_at)`,
    "DELETE FROM told_moments WHERE kind = 'saleStarted'",
    "ALTER TABLE told_moments DROP CONSTRAINT told_moments_kind",
    "ALTER TABLE told_moments ADD CONSTRAINT told_moments_kind CHECK (kind = 'reminderDue')",
    "DROP INDEX events_by_sale_start",
  ],
  down: [
    "CREATE INDEX events_by_sale_start ON events (sale_starts_at, id) WHERE sale_starts_at IS NOT NULL AND deleted_at IS NULL",
    "ALTER TABLE told_moments DROP CONSTRAINT told_moments_kind",
    "ALTER TABLE told_moments ADD CONSTRAINT told_moments_kind CHECK (kind IN ('saleStarted', 'reminderDue'))",
    // Whose start nobody waits for any more has been told.
    `INSERT INTO told_moments (event_id, kind, moment, told_at)
     SELECT id, 'saleStarted', sale_starts_at, now() FROM events e
      WHERE sale_starts_at <= now() AND NOT EXISTS (SELECT FROM awaited_sales a WHERE a.event_id = e.id)`,
    "DROP TABLE awaited_sales",
  ],
};
