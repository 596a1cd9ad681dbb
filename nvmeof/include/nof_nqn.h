/* SPDX-License-Identifier: Apache-2.0 */
/* Names that the specification gives. */
#pragma once

/* Every discovery service; Base 3.1.3.3. */
#define NOF_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"
