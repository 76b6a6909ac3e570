/** How a deployment stands, as a colour. */
import type { DeploymentView } from "../api/client";
import type { Tone } from "../components/tone";

const TONES: Record<DeploymentView["state"], Tone> = {
  running: "busy",
  succeeded: "good",
  failed: "bad",
  returned: "warn",
  interrupted: "warn",
};

export function deploymentTone(state: DeploymentView["state"]): Tone {
  return TONES[state];
}
