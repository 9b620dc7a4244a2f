select ORDER_ID "Order Id", CUSTOMER_ID "Customer Id" from (select ORDER_ID, CUSTOMER_ID from SHOP.SALES.ORDERS ORDERS qualify row_number() over (partition by CUSTOMER_ID order by AMOUNT desc, ORDER_ID) = 1 limit 1000) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}