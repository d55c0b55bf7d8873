<?php
// Prints what PHP makes of each name: by the system's resolver (`system`), or as records (`A`, `SRV`).
[, $way, ] = $argv;
foreach (array_slice($argv, 2) as $name) {
    $found = match ($way) {
        'system' => gethostbynamel($name) ?: [],
        'A' => array_column(dns_get_record($name, DNS_A) ?: [], 'ip'),
        'SRV' => array_map(
            fn ($r) => "{$r['pri']}/{$r['weight']}/{$r['port']}/{$r['target']}.",
            dns_get_record($name, DNS_SRV) ?: []
        ),
    };
    echo implode(' ', [$name, ...$found]), "\n";
}
