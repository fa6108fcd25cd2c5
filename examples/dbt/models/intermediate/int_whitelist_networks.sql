-- Whitelist entries as networks; family is null if the text is neither an address nor a network. IPv6
-- addresses that stand for IPv4 (::ffff:…) count as IPv4. first_ip and last_ip are IPv4 as numbers.
{% set octet = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])' %}
{% set ipv4 = '(' ~ octet ~ '[.]){3}' ~ octet %}
{% set mapped_mask = '^(9[6-9]|1[01][0-9]|12[0-8])$' %}
{% set groups = '([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?' %}
with parts as (
    select
        *,
        split_part(lower(trim(ip)), '/', 1) as address,
        case when position('/' in ip) > 0 then substring(trim(ip), position('/' in trim(ip)) + 1) end as mask
    from {{ ref('stg_compose__deployment_whitelist') }}
),

-- An IPv4 address at the end of an IPv6 one is two groups.
bodies as (
    select
        *,
        case when address ~ '^(.*:)?{{ ipv4 }}$' then regexp_replace(address, '^.*:', '') end as dotted,
        case
            when address ~ '^.*:{{ ipv4 }}$' then regexp_replace(address, '[^:]*$', '0:0')
            when position(':' in address) > 0 then address
        end as body
    from parts
),

counted as (
    select
        *,
        length(regexp_replace(regexp_replace(body, '[0-9a-f]+', 'x', 'g'), ':', '', 'g')) as group_count
    from bodies
),

-- Eight groups, :: written out.
expanded as (
    select
        *,
        case
            when body ~ '^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}$' then body
            when body ~ '^{{ groups }}::{{ groups }}$' and group_count < 8
                then trim(both ':' from replace(body, '::', ':' || repeat('0:', 8 - cast(group_count as integer))))
        end as full_groups
    from counted
),

hexadecimal as (
    select
        *,
        {% for place in range(1, 9) -%}
        lpad(split_part(full_groups, ':', {{ place }}), 4, '0'){{ ' || ' if not loop.last }}
        {%- endfor %} as digits
    from expanded
),

addresses as (
    select
        *,
        body is null or (
            substring(digits, 1, 24) = '00000000000000000000ffff'
            and coalesce(mask ~ '{{ mapped_mask }}', true)
        ) as is_ipv4,
        case
            when dotted is not null then
                {% for place in range(1, 5) -%}
                cast(split_part(dotted, '.', {{ place }}) as bigint) * {{ 256 ** (4 - place) }}{{ ' + ' if not loop.last }}
                {%- endfor %}
            else
                {% for place in range(25, 33) -%}
                (position(substring(digits, {{ place }}, 1) in '0123456789abcdef') - 1) * cast({{ 16 ** (32 - place) }} as bigint){{ ' + ' if not loop.last }}
                {%- endfor %}
        end as number
    from hexadecimal
    where (body is null and dotted is not null) or digits is not null
),

masked as (
    select
        deployment_id,
        whitelist_id,
        digits,
        number,
        is_ipv4,
        case
            when mask is null then case when is_ipv4 then 32 else 128 end
            when body is null and mask ~ '^(3[0-2]|[12]?[0-9])$' then cast(mask as integer)
            when body is not null and is_ipv4 and mask ~ '{{ mapped_mask }}' then cast(mask as integer) - 96
            when body is not null and not is_ipv4 and mask ~ '^(12[0-8]|1[01][0-9]|[1-9]?[0-9])$' then cast(mask as integer)
        end as prefix_length
    from addresses
),

networks as (
    select
        deployment_id,
        whitelist_id,
        prefix_length,
        digits,
        case when is_ipv4 then 4 else 6 end as family,
        case when is_ipv4 then number - number % cast(power(2, 32 - prefix_length) as bigint) end as first_ip,
        case when is_ipv4 then number - number % cast(power(2, 32 - prefix_length) as bigint) + cast(power(2, 32 - prefix_length) as bigint) - 1 end as last_ip
    from masked
    where prefix_length is not null
)

select
    entries.deployment_id,
    entries.whitelist_id,
    entries.ip,
    entries.description,
    networks.family,
    networks.prefix_length,
    networks.first_ip,
    networks.last_ip,
    case
        when networks.family = 4 then
            (networks.first_ip >= 167772160 and networks.last_ip <= 184549375)  -- 10.0.0.0/8
            or (networks.first_ip >= 2886729728 and networks.last_ip <= 2887778303)  -- 172.16.0.0/12
            or (networks.first_ip >= 3232235520 and networks.last_ip <= 3232301055)  -- 192.168.0.0/16
            or (networks.first_ip >= 2130706432 and networks.last_ip <= 2147483647)  -- 127.0.0.0/8
        else
            networks.prefix_length >= 7 and substring(networks.digits, 1, 2) in ('fc', 'fd')  -- fc00::/7
    end as is_private
from {{ ref('stg_compose__deployment_whitelist') }} as entries
left join networks
    on entries.deployment_id = networks.deployment_id and entries.whitelist_id = networks.whitelist_id
