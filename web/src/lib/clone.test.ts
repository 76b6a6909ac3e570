import { expect, test } from "vitest";
import { cloneRequest, UNFILLED } from "./clone";

const wish = { ...UNFILLED, into: "staging" };

test("all volumes go to where they were, unless somebody says otherwise", () => {
  expect(cloneRequest(wish, ["/data", "/media"])).toMatchObject({ into: "staging", map: {}, volumes: null });
});

test("a volume goes elsewhere, and one that goes nowhere is left out", () => {
  const asked = cloneRequest({ ...wish, targets: { "/data": " /var/lib/notes ", "/media": "" } }, ["/data", "/media"]);
  expect(asked).toMatchObject({ map: { "/data": "/var/lib/notes" }, volumes: ["/var/lib/notes"] });
});

test("a new workload is configured like the source but for what is named", () => {
  const asked = cloneRequest({ ...wish, goal: "new", name: " trial ", ports: "127.0.0.1:8081:80, 8443:443," }, []);
  expect(asked.into).toBeUndefined();
  expect(asked.like_source).toEqual({
    name: "trial",
    project: null,
    stage: null,
    ports: ["127.0.0.1:8081:80", "8443:443"],
  });
});
