// The body of a change event: github.com/hubtail/hubtail/schemas/v1/event.schema.json.
export interface Event {
  portal: string;
  object: string;
  id: string;
  op: "snapshot" | "created" | "updated" | "archived" | "restored" | "merged" | "purged";
  archived: boolean;
  updated_at: string;
  merged_into?: string;
  properties: Record<string, string>; // the full state; what is absent has no value
  changed: string[];
  previous: Record<string, string>; // old values of what changed
  previous_seq: number;
}
